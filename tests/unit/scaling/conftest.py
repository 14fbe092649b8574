import sys
from pathlib import Path

# The pool's processes look the work up by module name, so its folder must be importable there too.
sys.path.insert(0, str(Path(__file__).parent))
