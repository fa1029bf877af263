"""What the two parties of a pair call what they share: the same words at both ends."""


def pair_about(one: int, other: int) -> str:
    """What the mask key of a pair is for, whoever asks."""
    return f"mask of {min(one, other)} and {max(one, other)}"


def pair_sign(one: int, other: int) -> int:
    """+1 if `one` adds the mask of the pair, -1 if it subtracts it: the other does the opposite."""
    return 1 if one < other else -1


def letter_about(sender: int, recipient: int) -> str:
    """What a letter is about: it opens in this direction only."""
    return f"shares from {sender} to {recipient}"


def share_purpose(kind: str, dealer: int, holder: int) -> str:
    """What a share is committed to: kind is "seed" or "key"."""
    return f"{kind} of {dealer} held by {holder}"
