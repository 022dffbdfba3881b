"""``python -m nssi_meta``: the same as the command ``nssi-meta``."""

from nssi_meta.cli import main

if __name__ == "__main__":
    main()
