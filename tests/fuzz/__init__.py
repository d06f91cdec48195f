"""A campaign of spoilt inputs against the whole program: ``make fuzz``, see CONTRIBUTING.md."""

import os

# grpcio reads it when it is first loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
