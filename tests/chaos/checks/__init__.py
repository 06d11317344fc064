"""The rules of the verdict, by what they look at. Each yields what it finds broken, and nothing where all is well."""
