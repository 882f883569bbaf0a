"""Operations on rows, shared by System, pages and admin."""
