"""medtransfer: does pre-training help on these medical images, and why?"""

__version__ = "0.1.0"
