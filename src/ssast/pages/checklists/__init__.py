"""Show checklists for reviewers: what is asked, what is known, and what is left open."""
