"""``python -m memexp.bench``."""

from memexp.bench.command import main

if __name__ == "__main__":
    main()
