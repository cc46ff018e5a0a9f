"""The command line as ``python -m zh_lstm_lm``."""

import sys

from zh_lstm_lm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
