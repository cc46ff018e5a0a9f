"""The command that shows everything once, and completion in a shell."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Place
