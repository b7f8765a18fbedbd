"""`occnet app`: a local page that reconstructs photos. Only `page` and `server` import Gradio."""
