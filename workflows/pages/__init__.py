"""The pages: views by noun, forms, the diagram and the page sockets."""
