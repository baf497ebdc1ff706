"""What several raters say of the same recordings: how far they agree, and whether a model agrees with them as well."""
