"""``python -m fedward_cli``: the command, where its script is not on the path."""

from fedward_cli.main import app

if __name__ == "__main__":
    app()
