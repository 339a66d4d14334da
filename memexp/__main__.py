"""``python -m memexp``."""

from memexp.app import main

if __name__ == "__main__":
    main()
