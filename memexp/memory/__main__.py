"""``python -m memexp.memory``."""

from memexp.memory.command import main

if __name__ == "__main__":
    main()
