"""Section 4 of the paper: labelled data, the methods compared, one class against the rest."""
