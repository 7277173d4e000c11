"""What commands say to do about jobs: which account one belongs to, how a doubt is settled, what a key stands for."""
