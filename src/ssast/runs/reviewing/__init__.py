"""What a report needs beside the scores: groups of people, what was lost on the way, a plain baseline."""
