"""``python -m rdzv`` is the command ``rdzv``."""

from rdzv._command import main

if __name__ == "__main__":
    raise SystemExit(main())
