{{#services}}
{{#databases}}
CREATE DATABASE IF NOT EXISTS {{.}} CHARACTER SET utf8mb3;
GRANT ALL PRIVILEGES ON {{.}}.* TO '{{user}}'@'%' IDENTIFIED BY '{{secret}}';
{{/databases}}
{{/services}}
