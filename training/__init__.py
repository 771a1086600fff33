"""How the policy learns: the loop, its account of every trajectory, evaluation and promotion."""

import backends as backends
