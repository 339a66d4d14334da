"""``python -m memexp.published``."""

from memexp.published.command import main

if __name__ == "__main__":
    main()
