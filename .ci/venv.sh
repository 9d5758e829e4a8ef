# Sourced from the root of the clone: makes .venv if it is missing and installs adgan into it.
# install_adgan ''  or  install_adgan '[test]'

install_adgan() {
    [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
    # The default torch for Linux brings gigabytes of CUDA along. Where there is no NVIDIA GPU and
    # the package index at hand offers a CPU build, that one does the same.
    if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null &&
        ! .venv/bin/python -c 'import torch' 2>/dev/null; then
        cpu=$(.venv/bin/python -m pip index versions torch 2>/dev/null |
            grep -oE '[0-9]+\.[0-9]+\.[0-9]+\+cpu' | head -n 1 || true)
        [ -z "$cpu" ] || .venv/bin/python -m pip install -q "torch>=2.6,==$cpu" || true
    fi
    .venv/bin/python -m pip install -q -e ".$1"
}
