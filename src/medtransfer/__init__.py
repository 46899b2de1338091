"""medtransfer: does pre-training help on these medical images, and why?"""
