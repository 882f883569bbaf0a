"""Forms generated from models, and their fields."""
