"""The web pages: views, lists, forms, diagrams and websockets."""
