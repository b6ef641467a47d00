"""``python -m toolkit``: the command line, also for those who start it by module name, such as torchrun."""

from toolkit.cli.main import main

if __name__ == "__main__":
    main()
