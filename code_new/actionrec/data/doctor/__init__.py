"""Is the data right? `examination.examine` reads all of it once and says what it found.

One file one kind of question; each check yields `Finding`s and changes nothing.
"""
