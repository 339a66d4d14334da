"""What others published, and the same measured here: ``python -m memexp.published``.

A row of the table is a claim with its source, and how it is measured (`claims`): by doing it now (`guessing`), or from
the records of ``experiment=published`` (`sequences`, `lengths`). `command` puts the table together.
"""
