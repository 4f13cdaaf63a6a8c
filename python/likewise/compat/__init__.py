"""Other libraries' interfaces over these models, for code that is there already."""
