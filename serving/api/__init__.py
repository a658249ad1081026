"""The API: its parameters are declared, parsed into queries, asked of reading/, and rendered as answers. It knows
HTTP and Flask.
"""
