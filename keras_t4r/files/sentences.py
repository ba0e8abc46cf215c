"""What other libraries say, made to fit into a sentence."""


def first_line(error):
    """The first line of what an error says, or its name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
