"""A campaign of spoilt inputs against the whole program: ``make fuzz``, see CONTRIBUTING.md."""
