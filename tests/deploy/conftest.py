"""What is in tools/ runs in the environment of `make deploy-test`, by test_tools.py."""

collect_ignore = ["tools"]
