"""The compiled engine: a whole update as machine code, near the processor's limit, the same bits on every machine."""
