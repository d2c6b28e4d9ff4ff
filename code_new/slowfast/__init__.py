"""SlowFast with the overlay: stand-ins for what its modules import and nobody can install today.

Takes the place of the original, whose imports are not run: they would bring in torch, and a mistake
in a config is to be answered before that. The stand-ins are installed here and not in a script, so
that spawned workers have them too.
"""

from slowfast._compat import install

install()
