"""Operations on rows that System, pages and admin share."""
