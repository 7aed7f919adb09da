"""The commands of ``cutscene``, by what they are about. Each module adds its own to the tool."""
