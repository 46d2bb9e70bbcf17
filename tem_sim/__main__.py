"""`python -m tem_sim` is `tem-sim`."""

from tem_sim.cli.main import main

if __name__ == "__main__":
    main()
