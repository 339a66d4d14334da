"""``python -m memexp.analysis``."""

from memexp.analysis.command import main

if __name__ == "__main__":
    main()
