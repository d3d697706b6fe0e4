"""The report of a run: its ``page``, ``sections`` and ``plots``, and the ``importance`` of each column."""
