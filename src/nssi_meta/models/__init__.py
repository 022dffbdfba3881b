"""From checked data to a likelihood and, where sampling is needed, to a ``pm.Model``."""
