"""A study: records -> tables and figures."""
