"""Tables with text, dates and gaps: what their ``columns`` become, the ``ensemble`` that learns them, its ``fit``
and its ``model``.
"""
