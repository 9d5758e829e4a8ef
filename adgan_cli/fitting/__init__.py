"""A folder becomes a model: split, train, calibrate, judge, save."""
