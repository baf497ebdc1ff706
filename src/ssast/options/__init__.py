"""Floor 4: declare every option once, and turn what a user gives into checked options."""
