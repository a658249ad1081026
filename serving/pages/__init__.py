"""The pages for people; their documents are in templates/, their scripts in static/."""
