"""``python -m memexp.explorer``."""

from memexp.explorer.export import main

if __name__ == "__main__":
    main()
