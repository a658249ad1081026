"""What is wrong with an installation: facts, the checks over them, and the page that tells of what was found."""
