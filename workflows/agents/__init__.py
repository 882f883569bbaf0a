"""Language models: providers, calls, profiles, budgets and usage."""
