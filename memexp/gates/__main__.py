"""``python -m memexp.gates``."""

from memexp.gates.command import main

if __name__ == "__main__":
    main()
